"""One module per group of resources. `access` says for each method who may call it; None means anyone."""
