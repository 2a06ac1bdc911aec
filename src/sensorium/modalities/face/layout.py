"""The layout of a perception vector: 478 landmarks of three numbers, then seven emotion probabilities; indices, names.

Indices are those of MediaPipe's face mesh with irises, which all of its APIs share. Left and right are the person's.
"""

from __future__ import annotations

POINTS = 478
LANDMARKS = slice(0, 3 * POINTS)  #: x, y, z of each point in turn: x by the picture's width, y by its height, z as x
EMOTIONS = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
PROBABILITIES = slice(3 * POINTS, 3 * POINTS + len(EMOTIONS))
WIDTH = 3 * POINTS + len(EMOTIONS)  #: 1441

#: Rings and lines of points, in the order in which they are drawn.
OVAL = (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149,
        150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109)  # fmt: skip
RIGHT_EYE = (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246)
LEFT_EYE = (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466)
RIGHT_BROW = (70, 63, 105, 66, 107, 55, 65, 52, 53, 46)
LEFT_BROW = (300, 293, 334, 296, 336, 285, 295, 282, 283, 276)
OUTER_LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
INNER_LIPS = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191)
NOSE = (168, 6, 197, 195, 5, 4, 1, 19, 94, 2)  #: from between the eyes down the ridge to below the tip
RIGHT_IRIS = (468, 469, 470, 471, 472)  #: the first is its centre
LEFT_IRIS = (473, 474, 475, 476, 477)

#: Single points by which a face is centred, scaled and turned.
RIGHT_EYE_OUTER, RIGHT_EYE_INNER, LEFT_EYE_INNER, LEFT_EYE_OUTER = 33, 133, 362, 263
NOSE_TIP, CHIN, FOREHEAD, MOUTH_RIGHT, MOUTH_LEFT, UPPER_LIP, LOWER_LIP = 1, 152, 10, 61, 291, 13, 14
RIGHT_SIDE, LEFT_SIDE = 234, 454  #: where the cheeks end, by the ears

#: The 52 expression scores (0 to 1) of MediaPipe's face_blendshapes model, in its order.
BLENDSHAPES = (
    "_neutral", "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight", "cheekPuff",
    "cheekSquintLeft", "cheekSquintRight", "eyeBlinkLeft", "eyeBlinkRight", "eyeLookDownLeft", "eyeLookDownRight",
    "eyeLookInLeft", "eyeLookInRight", "eyeLookOutLeft", "eyeLookOutRight", "eyeLookUpLeft", "eyeLookUpRight",
    "eyeSquintLeft", "eyeSquintRight", "eyeWideLeft", "eyeWideRight", "jawForward", "jawLeft", "jawOpen", "jawRight",
    "mouthClose", "mouthDimpleLeft", "mouthDimpleRight", "mouthFrownLeft", "mouthFrownRight", "mouthFunnel",
    "mouthLeft", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthPressLeft", "mouthPressRight", "mouthPucker",
    "mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthSmileLeft",
    "mouthSmileRight", "mouthStretchLeft", "mouthStretchRight", "mouthUpperUpLeft", "mouthUpperUpRight",
    "noseSneerLeft", "noseSneerRight",
)  # fmt: skip
