// Points and lines with WebGL2: one draw call for all points, pan and zoom in the shader.

const POINTS = `#version 300 es
uniform vec4 view;   // centre x, y; scale x, y to clip space
uniform float size;  // pixels
uniform highp sampler2D palette;
layout(location = 0) in vec2 at;
layout(location = 1) in uint code;
layout(location = 2) in uint flags;  // 1: right side, 2: chosen, 4: left out
out vec4 colour;
flat out uint kind;
void main() {
  colour = texelFetch(palette, ivec2(int(code), int(flags & 1u)), 0);
  bool chosen = (flags & 2u) != 0u;
  kind = flags & 1u;
  gl_Position = colour.a == 0.0 || (flags & 4u) != 0u ? vec4(2.0, 2.0, 2.0, 1.0) : vec4((at - view.xy) * view.zw, 0.0, 1.0);
  gl_PointSize = chosen ? size * 1.6 + 2.0 : size;
  if (chosen) colour.a = 1.0;
}`;
const DOT = `#version 300 es
precision highp float;
uniform float size;
in vec4 colour;
flat in uint kind;
out vec4 shown;
void main() {
  vec2 p = abs(gl_PointCoord * 2.0 - 1.0);
  // left sides are discs, right sides diamonds; too small to tell, all are squares
  float far = size < 3.0 ? 0.0 : kind == 0u ? length(p) : p.x + p.y;
  float edge = size < 3.0 ? 1.0 : 1.0 - smoothstep(1.0 - 2.5 / size, 1.0, far);
  if (edge <= 0.0) discard;
  shown = vec4(colour.rgb * colour.a * edge, colour.a * edge);
}`;
const LINES = `#version 300 es
uniform vec4 view;
layout(location = 0) in vec2 at;
void main() { gl_Position = vec4((at - view.xy) * view.zw, 0.0, 1.0); }`;
const PLAIN = `#version 300 es
precision highp float;
uniform vec4 tint;
out vec4 shown;
void main() { shown = vec4(tint.rgb * tint.a, tint.a); }`;

function program(gl, vertex, fragment) {
  const made = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(made, shader);
  }
  gl.linkProgram(made);
  if (!gl.getProgramParameter(made, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(made) ?? "shaders do not link");
  return made;
}

/** A drawing surface on a canvas, or null where there is no WebGL2. software: take one that the processor computes,
 *  too, which for a million points is some ten times slower than the plain canvas. */
export function surface(canvas, { software = false } = {}) {
  const gl = canvas.getContext("webgl2", { antialias: false, alpha: false, failIfMajorPerformanceCaveat: !software, powerPreference: "high-performance" });
  if (!gl) return null;
  const debug = gl.getExtension("WEBGL_debug_renderer_info");
  if (!software && debug && /swiftshader|llvmpipe|software|basic render/i.test(gl.getParameter(debug.UNMASKED_RENDERER_WEBGL))) return null;
  const dots = program(gl, POINTS, DOT), lines = program(gl, LINES, PLAIN);
  const where = (made, name) => gl.getUniformLocation(made, name);
  const places = gl.createBuffer(), codes = gl.createBuffer(), flags = gl.createBuffer(), ends = gl.createBuffer();
  const points = gl.createVertexArray(), pairs = gl.createVertexArray(), texture = gl.createTexture();
  let n = 0, drawn = 0;

  function attribute(array, buffer, at, size, type) {
    gl.bindVertexArray(array);
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.enableVertexAttribArray(at);
    if (type === gl.FLOAT) gl.vertexAttribPointer(at, size, type, false, 0, 0);
    else gl.vertexAttribIPointer(at, size, type, 0, 0);
  }
  attribute(points, places, 0, 2, gl.FLOAT);
  attribute(points, codes, 1, 1, gl.UNSIGNED_BYTE);
  attribute(points, flags, 2, 1, gl.UNSIGNED_BYTE);
  attribute(pairs, places, 0, 2, gl.FLOAT);
  gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, ends);
  gl.bindVertexArray(null);
  const fill = (buffer, data, usage) => { gl.bindBuffer(gl.ARRAY_BUFFER, buffer); gl.bufferData(gl.ARRAY_BUFFER, data, usage); };
  gl.enable(gl.BLEND);
  gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);

  return {
    name: "WebGL2",
    /** Coordinates (2n), interleaved. */
    points(xy) { n = xy.length / 2; fill(places, xy, gl.STATIC_DRAW); },
    /** Colour code of each point, n bytes. */
    codes(array) { fill(codes, array, gl.STATIC_DRAW); },
    /** Bits of each point: 1 right side, 2 chosen, 4 left out. */
    flags(array) { fill(flags, array, gl.DYNAMIC_DRAW); },
    /** 256 colours for the left side and 256 for the right, RGBA bytes. */
    palette(rgba) {
      gl.bindTexture(gl.TEXTURE_2D, texture);
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, 256, 2, 0, gl.RGBA, gl.UNSIGNED_BYTE, rgba);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
    },
    /** Point numbers, two a line. */
    lines(indices) {
      gl.bindVertexArray(pairs);
      gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, ends);
      gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, indices, gl.DYNAMIC_DRAW);
      gl.bindVertexArray(null);
      drawn = indices.length;
    },
    /** view: {x, y, scale} in pixels a unit; size in pixels; ground and tint as [r, g, b(, a)], 0…255 and alpha 0…1. */
    draw(view, size, ground, tint) {
      const { width, height } = canvas, at = [view.x, view.y, (2 * view.scale) / width, (2 * view.scale) / height];
      gl.viewport(0, 0, width, height);
      gl.clearColor(ground[0] / 255, ground[1] / 255, ground[2] / 255, 1);
      gl.clear(gl.COLOR_BUFFER_BIT);
      if (drawn) {
        gl.useProgram(lines);
        gl.uniform4fv(where(lines, "view"), at);
        gl.uniform4f(where(lines, "tint"), tint[0] / 255, tint[1] / 255, tint[2] / 255, tint[3]);
        gl.bindVertexArray(pairs);
        gl.drawElements(gl.LINES, drawn, gl.UNSIGNED_INT, 0);
      }
      gl.useProgram(dots);
      gl.uniform4fv(where(dots, "view"), at);
      gl.uniform1f(where(dots, "size"), size);
      gl.bindTexture(gl.TEXTURE_2D, texture);
      gl.bindVertexArray(points);
      gl.drawArrays(gl.POINTS, 0, n);
      gl.bindVertexArray(null);
    },
    /** Wait until everything drawn so far is there: for measuring. */
    finish() { gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4)); },
    drop() { gl.getExtension("WEBGL_lose_context")?.loseContext(); },
  };
}
