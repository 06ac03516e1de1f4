"""Published ImageNet networks and working copies of them, compared on photographs."""
