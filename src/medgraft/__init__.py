"""medgraft: transplant pretrained networks onto medical images, and check what they look at."""

__version__ = "0.1.0"
