"""A face of average shape, facing the camera, and which landmark mirrors which: to fit poses and to make faces."""

from __future__ import annotations

import base64
import functools
import zlib

import numpy as np

from sensorium.modalities.face.layout import POINTS

_SCALE = 4000  # of the whole numbers below


@functools.cache
def shape() -> np.ndarray:
    """Landmarks (478, 3) float32 of 1,032 faces of FER2013 in the mean, made symmetric.

    The middle between the outer corners of the eyes is at (0, 0), they are 1 apart; x points to the right of the
    picture, y down, z away from the camera with mean 0.
    """
    found = np.frombuffer(zlib.decompress(base64.b85decode("".join(_SHAPE))), "<i2").reshape(3, POINTS).T
    return _frozen((found / _SCALE).astype(np.float32))


@functools.cache
def mirror() -> np.ndarray:
    """(478,) int64: the landmark of the other half of the face for each; its own number in the middle."""
    return _frozen(np.frombuffer(zlib.decompress(base64.b85decode("".join(_MIRROR))), "<u2").astype(np.int64))


def _frozen(array: np.ndarray) -> np.ndarray:
    array.setflags(write=False)  # one array serves all callers
    return array


_SHAPE = (
    "c-qa@X>=CV83*v^-aB(=-kEt5f&~f47O<2hEM*a5STu-A%Bm2RP(oNt6VO0R1f)<XC6q<NsbIt;B!?x92n3>1b|E2P*m4p>N@)Tp5UG?1dDoe{^h"
    "Lk;!Jgw6Jw9LNf6vUBd!FYvGiLxER;2v)0J#D9KNS!sJR6<2?YD!`fmzHG?B;wC7#NuCk7oS?vpliBbM{{Gxk%w#SS@eOpLQOXNLKk8SSc%D$NYw"
    "j37+*I^B(5i*fM*mH;a!K`yAm6_m{Aq4!6GwF7vImqkWm)!y=E@uuu3uozbidYvE%!5%<Ivv0dyFmEsE#%ME^s<+1Hfk_TWvTgnOr;fuuuC(6!bG"
    "yEL_je$s(${*!rtTd3|yUm99xA2L4px5xv2u!g*b*h*Y3Enhcrfg;%Je&ATcFO+@KkB){qQpV}A^&VohVQ!PuCqz%EXi9OTx*B19PeqKYmW>*oJ5"
    "in73%4Lx5a7W^tZ<c%L5}luF#pyY!S~Ep;-nq><Yfdw}FidtxR^z<L77iR=$|`=9z2=1J-0az6oMC7i<r^=_?S$EOcE+AcsG^f4mrHuXbK>VuA&B"
    "N}z?`XY+%V_Tu0TZ{NUF@3mkd-@z%56!ol+QyP3Dkmv8{ALa4-UBN%tdz~HZcRa@9=3~Vy@wJ#KUgS}7n2hB$JX)j&D*R25qUq=<bAhr@T}W%Sd}"
    "7fCrIU6+%hPK~wU%#IxCX0}Q6H3xQ%N+whmR{)LBbGMH!_hVlQ`W6m2{{cXN<uOWTm>wSc?y!NeWiV^#oF{5Vaj$>B>@TUF(c7Xg2Ok#^T>7N6B^"
    "K#)mOStx+nPjwYcP)CpB!A09wvlj%yKIf1MqNr>ZYG*D?&*O4OqmKLQokuCTR9!Dl>C9d|QN>9b5_=4fni?rS9C}jvisKnUpS_cv2miao~Mn>pI@"
    "MyCKX++QK&+2*R23HsJSIX-UAce-uG)sLz(v2r^ih7b3DvhCT#v5+sYo%H}K!<B5O+QT|Yw%*!L^r6hc#$iElp!yPGhKKXo{O__9bQMO2q=-N>e`"
    "Q{U`$>hkGYc3%ft)m_+wP2E>U(Vl{8t+)!aCo{Efz_*|f7!qkUj>rAasu+qen!B%do2>3VIp{-yq@Y3hFZt~yysBp=~Qvju;G@=+VK4Sk3k;S5yZ"
    "zPJ|UXt8>lJ<FMEF9@dFo7IhUtD3LmsG9LKU9Q#PUg}wr1#xheCxo8%RO6D-(cEMOtp#qsdv(}ldXK)r0Ch&)Pyw8RHe!H?7so{cstE^(Lc1VaZF"
    "F5U#u`<|17o0>X2sHeY7MW)CVflIP`@Hu8RCoVY+fwpnlG9kQB!L)>&*nVnwGI@=c0d}b1pcCD}1`K!w|+Ddet0Z)tT{hsu^u|Fz1KWyC=IFtYy|"
    "<>-Sc!b;FwHYD))et*u{MS=u1&DJ_%qRUGwtV1j+x>F<7weH@(NXV4k{1xCo8c$+G54emjjaTfNYqws{<NnWJ4$WSyNMN$=-m7RJ&h*t{S55f+r!"
    ">nd;zf~V?uW}3i3hN=snyam9-92JttK-3cw9bHWFalb{5;;irmQ&=rGGEMt$@*!11x?nw%9b!+_^ya__idSm{}pjB;t@U3Dzdn>(0$weCo|0)XHG"
    "Wiv{@)oE|VM04aR7BKCC1p^gfDEj<i}6o*G_fwa{<eH8f0rPtR#ps+77fhb=cpyY`!-jU}$f$)ogDny4m*-u|`xJby_{f)rAYDE6T}XbMtLF)5=j"
    "k<N4vokDf(ByFb+fd!BU7iGMx!*TFSwEVdxe^~K5!|x0JIKSGE-B0UQFRP_TG{{3xFB?LsI+RYaF?JPeb~O7Pdp+NWmWVmxvb@H6^AC9~Kg?I~?R"
    "=>?WA|X^X%6g!W~fIcun1m*3(yb6<0I0AuhP)>SpJ7i<turdDCe1>J(BI-_ImV;WNaGGgBy0WEP($iRbm%(h9>=4-ksl-#j+2|<^yE7?1e62H)P_"
    "aio$dGb7B#%l!IlVyy@%`{X{j-5r=pYZ{&V{T6`d~#cq)=ij8m<Cx0v3@&Td^-zxttZ}a<j25JQf^3URV*#+jHI{X=6+$^}$M6RH#kOaNpj=ak=$"
    "x3|1J|PAg<?^N&jx$)85r+QgtRRC_UAw4w)lm?|+RM3$h0eh=Swhm_P5gJF%Z_jYu7QO%lFwi_90do)q9giD<S<LzW*zveVhMf?Jt-r#Z{RKN6C="
    "<``hplLT%xO}6>ViZ*<MbQxoEjagbElSIgXI8$ULWpy~pP86=H)pBNjtP>5<!IoJ@i9qJx-&%Af%5ks|a2Jt2FGgHA1@PIm~0{;&;V&`vDrVe|+p"
    "hBsk8OoMV`BF|^H?B|?hr-*~ooqY+TV71IchfuS#5B(A?e{RViR{YNJ`+`5tuO?*o)4D~4{!?O652S}uk5K9qO8*0{?F`="
)
_MIRROR = (
    "c-jTQ1Aq_!0KmX4+tz2>wr$(CZQHhO+qP}nt~-!Gd?yG&3C0gX5Ry=YCJbQ-M|dI-kw`@5C%^d3AO7+W)IbI{h(Qfza6=f<P=+>)VGU<^BN)+0Mm"
    "CC3jb?OX7}HqBHjZ(PXMpidU_uj_*d!)3naNFIN>iEIG^RD3>CIq9Gnv^eW;L7H&0$V+ncF<(HJ|w{U_lF6m%<jYsKqR92}@ea(w4ET<t%RnD_Y6"
    "QR<WwptZof!TFctjv99&3Zvz|J$i_CYsm*L|3tQUC*0!;&?QCxcJKD+4cCoA7>~0Tx+RJH7r?-9VYd`xtz<~~OutOZ`Vum@~5iVz>qa5uR$2!h+j"
    "CX<)o#bSvIMr!RcZM^a<!t9T*Llu&feSsvB9E}xV;pCROI_x2SGdwuu6B)UUFUi?xY12+c8gox=5}|u(_QX%k9*zceh+xiLmu{sM?L0oPk7Q(p7x"
    "AqJ?D8Zc+pD+COA=uN;IMqgP6o3HgSkcJOYSM0uqvl#3Ugp$w*ELQj&_)q#-ToNKXbbl8MY@AuHL)P7ZRCi`?WPFZsw%0SZ!x!W5w>#VAe*N>Yl_"
    "l%Xu;C{G0{Qi;k`p(@p=P7P{Oi`vwo9`$KJLmJVTCN!lP&1pePTG5&|w51*G=|D$1(U~rEr5oMpK~H+on?CfVAN?7?Kn5|GAq-_0!x_OyMlqT(jA"
    "b0-nZQIQF_|e$Wd<{u#cbv<mwC)*0Sj5g5|*-z6|7_xt69TZ*0X_)Y+^H8*vdAxvxA-NVmEu(%RcsVfP)<7C?`0{DNb{Svz+5R7r4kJE^~#eT;n="
    "7xXCSUbBDX!<30~~$Ri%}gr_{?IWKt0D_--4x4h#$ANa^8KJ$gIeB*|<z2!~sc-d=S^@`X153K~?G5"
)
