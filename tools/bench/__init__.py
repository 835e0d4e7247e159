"""The black-box load generator: drives natskeep and nats-server alike and prints how they compare."""
