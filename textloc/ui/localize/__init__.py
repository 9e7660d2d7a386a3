"""The Localize tab: each layer's effect on the words, and the sets of layers that write them."""
