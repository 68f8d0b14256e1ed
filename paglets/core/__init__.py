"""What a paglet is, without a host: the lifecycle table, the mailbox, the class that authors derive from."""
