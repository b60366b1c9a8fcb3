"""The commands of `attiqa`: one module each, with `Settings` and `main(settings)`."""
