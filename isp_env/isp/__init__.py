"""The ISP: scene-linear light to display RGB by named knobs, differentiable."""
