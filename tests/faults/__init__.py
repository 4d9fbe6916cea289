"""What the service must withstand: real servers, databases and Redis, killed, stalled, emptied and abused."""
