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
    """Landmarks (478, 3) float32 of a smiling face, made symmetric.

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
    "c-qa@X>gat836ESkN3_$7nDL^7)!zxq@1QoQw|LYP0$7igCrn@atT5Z3Kb<-jsS8<K*|}ABS7151Vl7|5d=bpLP%SLhH%v)3=t^sKi_w+{?#vjur"
    "q$q@!1di?Ci|W?EdzdU4Sp6h5D+4w<GX>;=I&@v)N3q$bB+0ln32Zb~VyIGBJFDb&dQ!@O)^5H%N|?=Xf<s63IN<^Qp)3LFk`6i}&L_!&JTC-U<h"
    "TM?`l%+<iJ|h@dF+4te9l$-EnjW6UiLz2g;xb_R#a$K22Qiq&2kyXaMl=lOG@NT$mna-=MjOXY8Q7an34*gkJ$0N?<7l?|7Zc}KaQHMoiug;OIcl"
    "EJ2lmZFmHiVO`k@{I6Ckto^)NjNvs$J@)QI99&kvd}nnil+xwh->UjI9_ZCJmx<6MEIp}X5dQD4z6SK)CX)@@NIXhXEG7kC0_LWU!6`4Yt8rYOTm"
    "ZC$J%(k+=|E>fnapz4r?OPBtTgt&f6e*gx=-Z(a|L~D=<v77a$t>5}wPF8TXF5?L$N59$|~Q423q!6b=v*6__TzTp!CVZrJ<8D~jB7=Y%W8L4G|l"
    "(AysA7#tCP7`Pr;CB}>OJS1-L?(C3T6xkK-6n-w?4}&|@+rZZHOpzH_$)A<I<Z0Pep5;^}sccavQssom@$em(ZuCH&y_hc37U&m^a^mQhXo^v9tT"
    "+46I%B!>o>ivpN1ISj(u>~4*T`Yb53wlG>P#xh$K;&J;h^5ijIlFuE!nNt*e-VPDs7;)(Y!`3&_`6$$68agomPQej$(<A9>-I)v-C+V3%^G`!VAz"
    "Tv={9_tI#a8mHeI9v>P3)?QniWSJK_+PvkNhMBD0!E-)_{$T&tz@aH&-<QwHyGjhxvk00PGwlFJ<6WS2^ERo>1XIh&eot$!J;AHxY`4EqBVu>H!G"
    "`E{aoOX7|ewn@rzosSjbbYlJp~T6@f7X1)`}8xCM^f#0>ZjMWYCYE|b{wMxy^qhL5ym5J0zPkzCWlcfUF!S=*JB{f$ZMp6UZYg&uh(1UC=ZA5e5$"
    "P9p{pbSC0L>{x~28j78p<H3(YM20%>C$(q1wy+hu0F)5a*o8}US9<DZdQI#6F=<eQ(GA2~h~jB;%PokWh{BhIU&3RR<DqB@jDINXNAxGTPdHW+=)"
    "Y2I8m!yDzk;+1II^cC8Cx<+%X^V;WnCf-S(B2x8(648^-3y-w+S+}h!M~f+lxfr9xj?!P&P0<Jv!mtvKfnOxaZt{RkL5Jf2CZMfQMr+L#)?>4SHQ"
    "QQfMeLK>RvHq0aJsgOPNjL|ecoCSwn*%j+pQueq7ByfSe4dhzD_&C73&;1%Kqz?i_xNo^^BEgCF=*Q#rA3IWb_W~vudmc-@cf%n9rPTPSDnzF3xP"
    "HsX14#(ihuv><{%G`Xapw=a57#&t2weyi-gce#YGrz5*9e3FN4qh|zsG8^4YRV-KxB17ICZQ+awX@;B5Jb=DG~H+^IdguNu)cPq9+Yjm<ya>60~C"
    "TWCXSPnbvQ~IOC7ZY;g&$>Tv@;Z!xQIMhrsRsFp^yCQjl$r={8f%SzX@y3uJQ#Z~?oPrC-#v8;bxF)jbd7wc*r|2;#&q+oxBh62vntJd`h6IuO4L"
    "EC!D^}UVq4%`)ErGAb@AD8NpX9ekk-Lhs|EG>#>#j<;W5)=o7xA=<918iG2g+(+Agh*7Rn0ombf6s%E7RN%!<~-W;7Y4pa$qj>$PgUL+h+x(w@*W"
    "^!0iU43D<`DpzIVe(+<o{GlbkUGZzfZwh`lzuc(Z_v==z&ZtItQf-53buyZriDvb@!Cl3-uuX2Nmo3(yEZIdaRFd}-JH!LASBw;sL=#!y)w4DF99"
    "Rl<P>D9eD=-x*p&9ClSF6Y9te!#ID#mAvBcfjZR3@p9A?O}+vrt!cfHxPb;SF!S8U}mlCb=I7ikP;z%bTH#a03PiQ0L`!ScU(gQgMIUR@@bh@>jw"
    "SeW3>Cv!~Szc}4V<rDC0E6z$|6RF3MT3RDMm*gnlNpga60`d(h)#p;Br5c_c(bV2!5woFvDDgzzIRd5r1D&J)d<Q%#T`Opq-s6*m4G6YZYw#p86r"
    "K*!DxD{_<8>l(^fTU{)#vOW53#fX=<N)f2gD?p`B-d0nE+ci(v)K)`fY3-%17%PFjgW>)%`Ef<?;}fjqUa(k@Fa9Xwl=<q?ro;5hZ_B;Tq1|dS&}"
    "Lp62O5}*o^XJ0i1;9(1zTX!&HB^oagfP!jegHa<qzCsXSP%=Bc+}v}_c0QP<u`qY`E6U4hC$Y!Tn&bpQie!94g0T7tp&D>6_iOoy>B3~Fqj7{+IN"
    "|Mom@l2{wHy9&R6LRE}P(H6D_{TMBOXvuF^{MzuFg5S+=dDQOvb&HL*o+u98jsAh+qFHP-`yXfZ0J#"
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
