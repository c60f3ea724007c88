"""The policy room: engines and the layers around them."""
