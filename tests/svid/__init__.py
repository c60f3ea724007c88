"""The svid room: certificates, bundles, and who is proven by them."""
