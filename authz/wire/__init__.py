"""Envoy's tongue: the only room that speaks its protobuf; `encode` is the only maker of a CheckResponse."""
