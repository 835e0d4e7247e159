"""What one connection means: its states, its verbs and its clocks, without any I/O."""
