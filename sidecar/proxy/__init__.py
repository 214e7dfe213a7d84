"""Floor 3: the recipes, straight-line async: what happens to a connection from accept to close."""
