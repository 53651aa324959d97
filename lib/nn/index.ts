/** What a model is made of: `import { Module, Linear, attention } from 'kvasir/nn'`. */
export type { Activation } from '../ops/activation.js'
export { gelu, geluTanh, relu, silu } from '../ops/activation.js'
export { add } from '../ops/add.js'
export type { LogitEdits } from '../ops/adjust-logits.js'
export { adjustLogits } from '../ops/adjust-logits.js'
export type { AttentionOptions, Mask, StepTables } from '../ops/attention.js'
export { attention } from '../ops/attention.js'
export { embedding } from '../ops/embedding.js'
export type { ExpertsOptions } from '../ops/experts.js'
export { experts } from '../ops/experts.js'
export { gatherRows } from '../ops/gather-rows.js'
export { layerNorm } from '../ops/layer-norm.js'
export { linear } from '../ops/linear.js'
export { rmsNorm } from '../ops/rms-norm.js'
export { rope } from '../ops/rope.js'
export { ropeTable } from '../ops/rope-table.js'
export type { SamplingControls, SamplingTables } from '../ops/sample.js'
export { sample } from '../ops/sample.js'
export { scale } from '../ops/scale.js'
export { slice, split } from '../ops/slice.js'
export { softcap } from '../ops/softcap.js'
export { softmax } from '../ops/softmax.js'
export type { Weight } from '../ops/tensor.js'
export { Parameter, Tensor } from '../ops/tensor.js'
export { topLogits } from '../ops/top-logits.js'
export type { ActivationName } from './activation.js'
export { activationKinds, activations, reluSquared } from './activation.js'
export type { AttentionConfig } from './attention.js'
export { Attention } from './attention.js'
export type { CheckpointLayout, FusedTensor, ModelOptions } from './causal-lm.js'
export { CausalLM } from './causal-lm.js'
export { Embedding } from './embedding.js'
export type { MixtureConfig } from './experts.js'
export { MixtureOfExperts } from './experts.js'
export type { FeedForwardConfig, FeedForwardKind } from './feed-forward.js'
export { FeedForward, GatedFeedForward, gatedMlp, geglu, mlp, swiglu } from './feed-forward.js'
export type { HeadKind } from './linear.js'
export { Linear, TiedLinear, tiedHead, untiedHead } from './linear.js'
export { causal, slidingWindow } from './masks.js'
export { Module } from './module.js'
export type { Norm, NormKind } from './norm.js'
export { LayerNorm, RMSNorm } from './norm.js'
export { parameter } from './parameter.js'
export { alibi, learned, noPositions, Positions, sinusoidal } from './positions.js'
export type { ModelSpec } from './record.js'
export { modelSpec, record } from './record.js'
export { repeat } from './repeat.js'
export type { Residual } from './residual.js'
export { postNorm, preNorm } from './residual.js'
export type {
  Llama3Options,
  LongRopeOptions,
  RopeFrequencies,
  RopeScaling,
  YarnOptions,
} from './rope-scaling.js'
export {
  linearScaling,
  llama3Scaling,
  longRopeScaling,
  ntkScaling,
  unscaled,
  yarnScaling,
} from './rope-scaling.js'
export type { RotaryOptions } from './rotary.js'
export { rotary } from './rotary.js'
export { Step } from './step.js'
export type { NamedParameter } from './tree.js'
export { parameters } from './tree.js'
