"""States that outlive the code that wrote them."""
