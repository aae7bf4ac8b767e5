"""Generated from proto/balance.proto by `make proto`; not edited by hand."""
