"""The decisions behind sessions: accounts bound, subscriptions made, and a trail of what was refused."""
