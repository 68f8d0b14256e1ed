"""What goes over the wire: errors and values as messages, and back."""
