"""What is wrong with a store, or soon will be, and the command that mends each of it."""
