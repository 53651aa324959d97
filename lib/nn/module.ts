/**
 * A part of a model: a layer, a block, the model itself.
 *
 * The constructor stores `config` before a subclass's fields initialise, so that each submodule is declared and built
 * in one line, in reading order. Fields that hold modules, parameters, or arrays and plain objects of them are the
 * tree below a module; their names make the paths of parameters, e.g. `h.0.attn.c_attn.weight`. Fields that are
 * private (`#`) and `config` are not part of it.
 *
 * A subclass has a method `forward`; what it records is named after the module's path.
 */
export abstract class Module<Config = object> {
  readonly config: Config

  constructor(config: Config) {
    this.config = config
  }
}
