// Arrays as the server packs them: u32 length of a JSON header, the header, then the arrays it lists.

const TYPES = { f32: Float32Array, u32: Uint32Array, u8: Uint8Array };

/** {header, arrays: {name: typed array}} of an ArrayBuffer; nothing is copied. */
export function unpack(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const arrays = {};
  for (const { name, type, shape, at } of header.arrays) {
    arrays[name] = new TYPES[type](buffer, 4 + length + at, shape.reduce((a, b) => a * b, 1));
  }
  return { header, arrays };
}
