import type { Mask } from '../nn/index.js'
import { causal, slidingWindow } from '../nn/index.js'
import { malformed, oneOf } from './config.js'

/** What sees a window; null is all positions. */
export function maskOf(window: number | null): Mask {
  return window === null ? causal : slidingWindow(window)
}

const layerTypes = { full_attention: true, sliding_attention: true }

/**
 * Which layers see a window: those that `layer_types` names, or where config.json has none, those that `slides` says.
 *
 * @param window null for none in any layer
 * @throws {CheckpointError} when `layer_types` is malformed or not for as many layers
 */
export function readLayerMasks(
  json: Record<string, unknown>,
  layers: number,
  window: number | null,
  slides: (layer: number) => boolean,
): Mask[] {
  const types = json.layer_types ?? null
  if (types !== null && (!Array.isArray(types) || types.length !== layers))
    throw malformed('layer_types', `a list of ${layers} types, one a layer`, types)
  return Array.from({ length: layers }, (_, layer) => {
    const type = types && oneOf(layerTypes)(types[layer], `layer_types[${layer}]`)
    const isSliding = type ? type === 'sliding_attention' : slides(layer)
    return maskOf(isSliding ? window : null)
  })
}
