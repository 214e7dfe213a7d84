"""The control plane: admission, compiler, snapshot stream, and the operator's commands."""
