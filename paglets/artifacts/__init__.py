"""Large bytes: the contract of a store, and the store on disk."""
