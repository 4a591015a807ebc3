"""Train, evaluate and package the model. Needs the `training` extra; the product never imports this."""
