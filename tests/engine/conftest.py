from tests.engine.tiny import small_resnets

__all__ = ["small_resnets"]
