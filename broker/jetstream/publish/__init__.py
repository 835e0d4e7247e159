"""What decides whether a published message is stored, one file for each family of rules."""
