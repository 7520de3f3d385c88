"""How is an encoder pre-trained? MM-3DScene, its parts, and its rivals; one method a file."""
