"""Where a running server gets the claims of its accounts from, and how they are kept."""
