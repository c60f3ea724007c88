"""The tongue of our own gRPC API: the task service's messages and what they mean."""
