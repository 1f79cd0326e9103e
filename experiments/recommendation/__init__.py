"""Whether what is recommended loses little: cells of a grid, and what the page says of them."""
