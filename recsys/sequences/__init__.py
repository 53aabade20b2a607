"""What is cut, drawn and edited from histories before an encoder reads them."""
