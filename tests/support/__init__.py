"""What tests share: the real service and the real store, started for them."""
