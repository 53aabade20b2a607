"""What the library is measured with: conformance to published code, speed, and experiments. Not installed."""
