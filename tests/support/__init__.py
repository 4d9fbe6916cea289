"""What the tests of several areas share: private servers and databases, and clients that keep to the contract."""
