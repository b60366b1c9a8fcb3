"""The quality model as others take it: hubs, torchmetrics, pyiqa, rewards, ONNX."""
