"""What operators look at: snapshots of the live server, and the HTTP port that shows them."""
