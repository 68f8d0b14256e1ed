"""The artifact store: one contract on every implementation, and what each alone promises."""
