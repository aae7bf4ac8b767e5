"""One module per group of resources. `operations` says for each method what it is and who may call it."""
