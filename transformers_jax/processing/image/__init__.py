"""Pictures: reading, resizing, and the steps that make pixel values of them."""
