"""A first-in, first-out memory whose place is a function of the step."""
import jax


def enqueue(queue, new, step):
  """The queue with its oldest rows replaced: queue [q, d], new [b, d], step i32[] -> [q, d].

  Rows [step * b, (step + 1) * b) modulo q; no pointer has to be kept.

  Raises ValueError, when traced, unless b divides q.
  """
  q, b = len(queue), len(new)
  if q % b:
    raise ValueError(f'a queue wants a multiple of the batch as its length, got {q} for a batch of {b}; '
                     f'nearest: {max(1, round(q / b)) * b}')
  return jax.lax.dynamic_update_slice_in_dim(queue, new.astype(queue.dtype), step % (q // b) * b, 0)
