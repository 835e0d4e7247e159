"""Plain-Python twins of compiled or clever code: obviously right rather than quick, and the measure for both."""
