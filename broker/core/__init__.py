"""The compiled message path: parse frames, match subjects, copy bytes into outboxes; it knows no policy of its own."""
