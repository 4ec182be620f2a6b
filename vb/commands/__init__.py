"""Commands: one typed function each; REST, VSI, the library and both documents are views of them."""
