"""The engine: plan, move, publish. It knows protocols, never kinds of endpoints."""
