"""What the types of `injector/documents/` cannot say: each function yields what is wrong with a value, where, and the cure."""
