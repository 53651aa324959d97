import type { Tensor } from '../ops/tensor.js'
import type { Norm } from './norm.js'

/** Where the norm of a residual branch stands. */
export interface Residual {
  /** x (N, C), the branch from (N, C) to (N, C) -> (N, C) */
  add(x: Tensor, norm: Norm, branch: (x: Tensor) => Tensor): Tensor
  /** Whether a norm after the last layer is needed, as no layer normalises its sum. */
  readonly finalNorm: boolean
}

/** `x + f(norm(x))`, as GPT-2 and everything since. Xiong et al. 2020, https://arxiv.org/abs/2002.04745 */
export const preNorm: Residual = {
  add: (x, norm, branch) => x.add(branch(norm.forward(x))),
  finalNorm: true,
}

/** `norm(x + f(x))`, as the first transformer. Vaswani et al. 2017, https://arxiv.org/abs/1706.03762 */
export const postNorm: Residual = {
  add: (x, norm, branch) => norm.forward(x.add(branch(x))),
  finalNorm: false,
}
