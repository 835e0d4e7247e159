"""What streams and consumers are configured with: the fields, their defaults, their checks, what may change."""
