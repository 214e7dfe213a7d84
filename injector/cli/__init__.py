"""The operator's verbs, one file each, loaded when one is chosen."""
