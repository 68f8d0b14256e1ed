"""What `paglets doctor` looks at: one file a subject, one function a check."""
